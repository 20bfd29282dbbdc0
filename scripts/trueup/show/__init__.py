"""What people see: tables, progress, pages."""
