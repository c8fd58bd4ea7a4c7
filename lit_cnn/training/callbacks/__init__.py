"""Callbacks for what Lightning lacks."""
