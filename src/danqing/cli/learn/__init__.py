"""The commands of ``danqing learn``, a file each; `group` has their table."""
