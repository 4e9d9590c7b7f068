"""Names of tensors in the code of others, and the rules that turn them into ours."""
