"""HTML pages: run report, data gallery, leaderboard, audit, decisions."""
