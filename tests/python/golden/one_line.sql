translate(deals.stage, E'\t\n\x0b\f\r', '␉␊␋␌␍')
