"""The Spark session, and what Spark says when it fails."""
