"""The plugins that ship with audiohookd; they use only its public interfaces, as any other plugin."""
