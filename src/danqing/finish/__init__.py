"""What is done to a finished picture: picture -> picture, each made by a record of checked parameters."""
