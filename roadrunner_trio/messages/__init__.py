"""What handlers hold: a request, the response they return, and the contract between the two.

It knows the wire and the octets below, and nothing of who serves them. Read ``request`` and ``response`` as a user
would, then ``exchange``: one request and its one response, as every protocol has to offer them to an application.
"""
