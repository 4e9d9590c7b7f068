"""What anyone may hand in, held to what can be and told in words: fields of records, and JSON."""
