"""The network: backbone, pyramid pooling, query selection, sparse attention."""
