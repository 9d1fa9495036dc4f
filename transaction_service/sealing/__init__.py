"""Seals what is committed into the audit chain, behind everybody's back."""
