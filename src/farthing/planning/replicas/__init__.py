"""What a replica takes for its texts, and how long they wait at some of them."""
