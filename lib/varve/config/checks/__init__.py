"""What must hold beyond the shape of one field: each check notes every problem it finds, with file and line.

standard     one contract keeps the Open Data Contract Standard, and asks for nothing that Varve passes over
soundness    one contract: columns, keys, rules and history fit together
expressions  an expression is Spark SQL over columns that are there
flow         one job graph: tasks, parameters, references
crossing     sources, contracts and code lists: names lead from one file to another
transforms   the company's functions fit the contracts that they name
"""
