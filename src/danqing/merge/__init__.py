"""Models to one: files of weights in, a file of weights out, tensor by tensor."""
