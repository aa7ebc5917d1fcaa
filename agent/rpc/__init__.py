"""The front door: bytes to calls and back. The only place that knows HTTP, XML-RPC, JSON-RPC and asyncio."""
