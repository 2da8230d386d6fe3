"""
What a gateway that runs answers to other processes.

``service`` carries requests and answers over a socket, ``ask`` is the other end of it, ``questions`` finds who answers
which kind of request. A request is one JSON object on a line, an answer one JSON object, and a connection carries one
of each; ``ask`` says what is asked: {"ask": "list", …}. What cannot be done is answered {"error": TEXT, "hint": TEXT}.
Nothing here knows what a lab is, nor what is asked.
"""
