"""What a request attaches to a model while its picture is painted: a file for each kind of adapter, and their table."""
