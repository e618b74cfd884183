"""HTTP: takes queries, publishes them, and answers when the reply arrives."""
