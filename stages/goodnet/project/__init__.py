"""The project that goodnet init makes: its files, who wrote them, and how they are brought up to date."""
