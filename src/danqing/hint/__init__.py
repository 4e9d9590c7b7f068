"""What control networks are shown: picture -> hint, each made by a record of checked parameters."""
