"""Delivery of ready recordings: carriers store them, then notifiers announce them, each with retries until it is
done.
"""
