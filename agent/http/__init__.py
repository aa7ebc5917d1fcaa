"""What is served over HTTP beside calls: disks and machines, sent and fetched."""
