"""In how few bits a network's weights are kept, and whether what they are multiplied with is kept in few as well."""
