"""Notifications of recordings: the parts that the notifier plugins share."""
