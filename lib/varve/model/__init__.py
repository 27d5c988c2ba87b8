"""What every room speaks of: errors, scopes, contracts, times. Imports nothing of ours."""
