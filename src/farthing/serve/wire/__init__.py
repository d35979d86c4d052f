"""What clients send and expect: OpenAI's, Cohere's and TEI's embeddings, read into one `Asked`, and written back."""
