"""What a grown-up daemon needs: ordered services, bounded threads, word to systemd."""
