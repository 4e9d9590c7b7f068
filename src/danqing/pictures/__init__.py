"""Pictures in and out of files, with the record of their making; free of torch."""
