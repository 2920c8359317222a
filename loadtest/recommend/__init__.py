"""How good recommendations are, against simple ones and a library's, on held-out time.

    python -m loadtest.recommend --out DIR --cache DIR

| file | answers |
|---|---|
| data.py | what a data set is |
| movielens.py, simulated.py (world.py, listening.py) | the two there are |
| tasks.py | the two with their folds |
| splits.py | what is learned from, what is asked, what is right |
| baselines.py, tuning.py | whom fpserver is compared with, and with which settings |
| ours.py | fpserver's recommenders |
| judge.py | asks a recommender all questions |
| metrics.py, bootstrap.py | figures of one list, intervals of many |
| page.py, plots.py | the report |
"""
