"""What is stated: frozen records, with no algorithm in them."""
