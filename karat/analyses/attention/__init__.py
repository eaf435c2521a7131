"""What analyses of attention are made of: learned functions, their simple forms, content, maps and agreement."""
