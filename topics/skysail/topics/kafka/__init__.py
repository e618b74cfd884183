"""The Kafka ends, on confluent-kafka."""
