"""A run shown to a person: text, and one self-contained HTML file."""
