"""What commands print: tables and sentences, from results that know no screen."""
