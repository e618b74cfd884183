"""Takes queries from Kafka in batches, runs the model, and stores the answers."""
