"""The lab: emulated Xen hosts on this machine; see deploy/lab."""
