// The main jobs of npm's xen-api, which Xen Orchestra is built on: node xen_api.mjs URL USER PASSWORD
//
// Each step asserts; an error that nobody handles ends the process, as it would end xo-server.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { createClient } from 'xen-api'

const [url, user, password] = process.argv.slice(2)
const NULL = 'OpaqueRef:NULL'
const MIB = 2 ** 20

const complaints = []
console.warn = (...words) => complaints.push(words.map(String).join(' '))
process.on('unhandledRejection', error => {
  console.error('unhandled', error)
  process.exit(3)
})

const xapi = createClient({ url, auth: { user, password }, allowUnauthorized: true })

async function step(name, job) {
  await job()
  console.log('ok', name)
}

const objects = type => Object.values(xapi.objects.all).filter(object => object.$type === type)

async function until(what, holds) {
  const end = Date.now() + 30e3
  let found
  while (!(found = holds())) {
    assert.ok(Date.now() < end, `${what} never came true`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  return found
}

const cached = (ref, holds) => until(`the cached ${ref}`, () => {
  const object = xapi.getObjectByRef(ref, undefined)
  return object !== undefined && holds(object) && object
})

await step('connect, and fetch every class that is listed', async () => {
  await xapi.connect()
  await xapi.objectsFetched
  assert.equal(xapi.status, 'connected')
  assert.ok(objects('host').length === 1 && objects('VM').length > 1)
  assert.deepEqual(complaints, [])
})

await step('the cache is what a reader reads', async () => {
  for (const type of ['pool', 'host', 'VM', 'VBD', 'VDI', 'VIF', 'network', 'PIF', 'SR', 'PBD']) {
    const records = await xapi.getAllRecords(type)
    const refs = records.map(record => record.$ref).sort()
    assert.deepEqual(objects(type).map(object => object.$ref).sort(), refs)
    for (const { $ref, ...record } of records) {
      const object = xapi.getObjectByRef($ref)
      for (const [field, value] of Object.entries(record)) {
        if (!field.startsWith('$')) assert.deepEqual(object[field], value, `${type}.${field}`)
      }
    }
  }
})

await step('references are links', async () => {
  assert.equal(xapi.pool.$master.$type, 'host')
  assert.equal(xapi.pool.$default_SR.$PBDs[0].$host, xapi.pool.$master)
})

const template = objects('VM').find(vm => vm.is_default_template && vm.name_label === 'Generic PVH')
let vm, disk

await step('a machine as Xen Orchestra makes it', async () => {
  vm = await xapi.callAsync('VM.clone', template.$ref, 'of npm')
  await xapi.barrier(vm)
  await xapi.setFieldEntry('VM', vm, 'other_config', 'disks', template.other_config.disks)
  await xapi.callAsync('VM.provision', vm)
  await xapi.setFieldEntries('VM', vm, 'other_config', { 'xo:12345678': 'x', other: 'y' })
  await xapi.setFields('VM', vm, { name_description: 'made by npm', tags: ['npm'] })
  const made = await xapi.barrier(vm)
  assert.equal(made.is_a_template, false)
  assert.equal(made.name_description, 'made by npm')
  assert.equal(made.other_config['xo:12345678'], 'x')
  assert.equal(made.$VBDs.length, 1)
  await xapi.call('VM.set_memory_limits', vm, 128 * MIB, 256 * MIB, 256 * MIB, 256 * MIB)

  disk = await xapi.call('VDI.create', {
    name_label: 'data', SR: xapi.pool.default_SR, virtual_size: 4 * MIB, type: 'user', sharable: false, read_only: false,
    other_config: {},
  })
  const [userdevice] = await xapi.call('VM.get_allowed_VBD_devices', vm)
  await xapi.call('VBD.create', {
    VM: vm, VDI: disk, userdevice, bootable: false, empty: false, mode: 'RW', type: 'Disk', unpluggable: true,
    other_config: {}, qos_algorithm_params: {}, qos_algorithm_type: '',
  })
  const [device] = await xapi.call('VM.get_allowed_VIF_devices', vm)
  await xapi.call('VIF.create', {
    VM: vm, network: objects('network').find(network => network.bridge !== '').$ref, device, MAC: '', MTU: 1500,
    other_config: {}, qos_algorithm_params: {}, qos_algorithm_type: '', ipv4_allowed: [], ipv6_allowed: [],
    currently_attached: false, locking_mode: 'network_default',
  })
  const whole = await xapi.barrier(vm)
  assert.deepEqual([whole.$VBDs.length, whole.$VIFs.length], [2, 1])
})

await step('its power, by tasks whose end is an event', async () => {
  await xapi.callAsync('VM.start', vm, false, false)
  await cached(vm, object => object.power_state === 'Running' && object.$resident_on === xapi.pool.$master)
  await xapi.callAsync('VM.suspend', vm)
  await xapi.callAsync('VM.resume', vm, false, false)
  await xapi.callAsync('VM.clean_reboot', vm)
  await xapi.callAsync('VM.clean_shutdown', vm)
  await cached(vm, object => object.power_state === 'Halted')
})

await step('errors have their code', async () => {
  await assert.rejects(xapi.callAsync('VM.hard_shutdown', vm), { code: 'VM_BAD_POWER_STATE' })
  await assert.rejects(xapi.call('VM.get_record', NULL), { code: 'HANDLE_INVALID' })
  await assert.rejects(xapi.call('VM.no_such_thing', vm), { code: 'MESSAGE_METHOD_UNKNOWN' })
  await assert.rejects(xapi.call('VM.start', vm), { code: 'MESSAGE_PARAMETER_COUNT_MISMATCH' })
})

await step('a snapshot, and back', async () => {
  const snapshot = await xapi.callAsync('VM.snapshot', vm, 'before', [])
  await xapi.call('VM.set_name_description', vm, 'changed')
  await xapi.callAsync('VM.revert', snapshot)
  await cached(vm, object => object.name_description === 'made by npm')
  const { $VBDs } = await xapi.barrier(snapshot)
  const kept = $VBDs.map(vbd => vbd.VDI)
  await xapi.callAsync('VM.destroy', snapshot)
  for (const vdi of kept) await xapi.callAsync('VDI.destroy', vdi)
  await until('the end of the snapshot', () => xapi.getObjectByRef(snapshot, undefined) === undefined)
  const disks = (await xapi.barrier(vm)).$VBDs.map(vbd => vbd.$VDI)
  disk = disks.find(vdi => vdi.virtual_size === 4 * MIB).$ref
})

await step('a disk in and out', async () => {
  const content = Buffer.alloc(4 * MIB, 'xen-api ')
  const body = Readable.from([content])
  body.length = content.length
  await xapi.putResource(body, '/import_raw_vdi/', {
    query: { format: 'raw', vdi: disk }, task: await xapi.createTask('upload'),
  })
  const response = await xapi.getResource('/export_raw_vdi/', {
    query: { format: 'raw', vdi: disk }, task: await xapi.createTask('download'),
  })
  const parts = []
  for await (const part of response.body ?? response) parts.push(part)
  assert.ok(Buffer.concat(parts).equals(content))
})

await step('a stream of a length that the client does not know', async () => {
  // It probes with an empty body, announces 1 PiB, and may go before its system has sent all: both ways it has to end.
  const query = { format: 'raw', vdi: disk }
  const stream = Readable.from([Buffer.alloc(4 * MIB, 'no length')])
  await xapi.putResource(stream, '/import_raw_vdi/', { query, task: await xapi.createTask('stream') })
  for (const complaint of complaints.splice(0)) assert.match(complaint, /missing length|VDI_IO_ERROR/)
  await until('the end of the upload', () => Object.keys(xapi.getObjectByRef(disk).current_operations).length === 0)
})

await step('nothing stays behind', async () => {
  for (const vbd of (await xapi.barrier(vm)).$VBDs) {
    await xapi.call('VBD.destroy', vbd.$ref)
    if (vbd.VDI !== NULL) await xapi.callAsync('VDI.destroy', vbd.VDI)
  }
  for (const vif of xapi.getObjectByRef(vm).$VIFs) await xapi.call('VIF.destroy', vif.$ref)
  await xapi.callAsync('VM.destroy', vm)
  await until('the end of the machine', () => xapi.getObjectByRef(vm, undefined) === undefined)
  await until('the end of the tasks', () => objects('task').length === 0)
})

await xapi.disconnect()
assert.deepEqual(complaints, [])
console.log('ok disconnect')
