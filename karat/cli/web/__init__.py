"""`karat ui`: web servers that show studies, and the addresses of their pages."""
