"""The anomalies of each kind of object, recognised and told in the field's terms."""
