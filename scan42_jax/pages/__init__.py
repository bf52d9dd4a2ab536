"""What every page that this project writes is made of: tables and charts."""
