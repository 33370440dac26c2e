"""The plugins that ship with audiohookd: users of the public contract like anyone's."""
