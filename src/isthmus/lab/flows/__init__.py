"""
The conversations of a gateway that runs, asked from another process over ``lab.service``.

``filter`` is what a user says of those he means, ``rows`` how one looks from outside, ``answers`` what is done for a
request:

    {"ask": "list", "filter": ["vpc=a"], "limit": 100}
        {"flows": […], "total": N, "shown": N, "records": N, "mappings": N, "capacity": N}
    {"ask": "clear", "filter": ["vpc=a"]}
        {"ended": N}
    {"ask": "pools"}
        {"pools": […], "refused": […]}
"""
