"""Applications on top of the server. They import its floors up to the answering one; none of its floors knows them."""
