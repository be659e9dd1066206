"""What a run is to do: settings and their files, the resolved configuration, and the words for a user's mistakes."""
