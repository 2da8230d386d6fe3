"""
The conversations of a gateway that runs, asked from another process.

``filter`` is what a user says of those he means, ``rows`` how one looks from outside, ``answers`` what is done for a
request, ``service`` carries requests and answers over a socket, ``ask`` is the other end of it. A request is one JSON
object on a line, an answer one JSON object, and a connection carries one of each:

    {"ask": "list", "filter": ["vpc=a"], "limit": 100}
        {"flows": […], "total": N, "shown": N, "records": N, "mappings": N, "capacity": N}
    {"ask": "clear", "filter": ["vpc=a"]}
        {"ended": N}
    {"ask": "pools"}
        {"pools": […], "refused": […]}

What cannot be done is answered ``{"error": TEXT, "hint": TEXT}``. Nothing here knows what a lab is.
"""
