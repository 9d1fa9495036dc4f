"""The audit chain, for whoever writes it and whoever checks it: Merkle trees, block headers, signatures, proofs.

It reads no table and calls nobody, so an auditor can check a proof with this folder and a public key. The form of
everything is in docs/audit.md.
"""
