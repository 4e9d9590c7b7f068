"""How, never what, is computed: the device, the precision, the text cache, the record of the machine."""
