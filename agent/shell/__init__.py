"""The commands that follow from the sealed table: ``vm-list``, ``vm-start``, ``vm-param-set`` and so on, for people.

Everything here works on ``words``, the table as plain data; only ``table`` sees the real one. It talks to a running
agent as ``agent.client`` does, and knows no more of a class than its line in the table, but for ``spellings`` and the
few commands of ``special``.
"""
