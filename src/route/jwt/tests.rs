//! Cases for tokens that say where they lead.
