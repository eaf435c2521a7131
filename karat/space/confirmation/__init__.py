"""What a space says about its confirmation, checked against its arms, one file each."""
