"""The rest of the port driver, as far as guest.sys asks for it: its callbacks, adapters, requests, interrupts.

To change for a machine of your own: all that your drivers need beyond this.
"""

import struct

from machine import DIRQL, DISPATCH, PASSIVE
from storport import Storport

SRB_BYTES, CDB = 88, 72
SUCCESS, FOUND = 1, 1


class Port(Storport):
    def __init__(self, machine, driver):
        super().__init__(machine)
        self.completed = set()
        machine.load(driver, self)
        status = machine.call(machine.driver.entry, machine.data(8), machine.data(8))
        assert status == 0, f"DriverEntry answered {status:#x}"
        #: What FindAdapter is given, and a request.
        self.config, self.again = machine.data(256), machine.data(8)
        self.srb = machine.data(SRB_BYTES)

    def StorPortInitialize(self, driver, registry_path, data, context):
        fields = struct.unpack("<II5Q2QI", self.machine.read(data, 68))
        self.initialize, self.start_io, self.interrupt, self.find_adapter, self.reset_bus = fields[2:7]
        self.extension_bytes = fields[9]
        return 0

    def StorPortNotification(self, kind, extension, srb):
        if kind & 0xFFFF_FFFF == 0:  # RequestComplete
            self.completed.add(srb)

    def add_adapter(self, name):
        """Its extension, which is a guest's address."""
        extension = self.machine.data(self.extension_bytes)
        self.owners[extension] = self.pool.adapter(name)
        found = self.machine.call(self.find_adapter, extension, 0, 0, 0, self.config, self.again, irql=PASSIVE)
        assert found == FOUND and self.machine.call(self.initialize, extension, irql=DIRQL)
        return extension

    def remove_adapter(self, extension):
        """Raises BugCheck if blocks are left."""
        self.pool.remove(self.owners.pop(extension))

    def request(self, extension, command):
        """A request with a SCSI command; the status of its SRB. Raises Stopped."""
        cdb = command.ljust(16, b"\0")[:16]
        fields = struct.pack("<HBB8x", SRB_BYTES, 0, 0)[:10] + bytes([len(cdb), 0])
        self.machine.write(self.srb, fields.ljust(CDB, b"\0") + cdb)
        self.completed.clear()
        self.machine.call(self.start_io, extension, self.srb, irql=DISPATCH)
        assert self.srb in self.completed, "the request was not completed"
        return self.machine.read(self.srb + 3, 1)[0]

    def interrupts(self, extension):
        return self.machine.call(self.interrupt, extension, irql=DIRQL) & 0xFF
