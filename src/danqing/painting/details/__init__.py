"""What is found in a picture and painted anew: the finish `detail`, and what finds things, one finder a file."""
