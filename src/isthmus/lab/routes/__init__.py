"""
What BGP taught a gateway that runs, from whom, and how it leaves; asked from another process over ``lab.service``.

``router`` is what the part of the gateway that speaks BGP has to offer for it, ``answers`` what is done for a request:

    {"ask": "routes", "vpc": NAME | null, "prefixes": [CIDR | IP], "longer": false, "from": PEER | null, "limit": N}
        {"routes": […], "total": N, "shown": N, "ambiguous": […]}
    {"ask": "neighbors"}
        {"neighbors": […], "draining": false, "ambiguous": […]}
    {"ask": "down"}
        {"vpcs": [NAME], "attachments": [[VPC, PORT, KIND OF TAG, OUTER, INNER]], "neighbors": [[VPC, IP]]}
    {"ask": "drain", "on": true}
        {"draining": true}
"""
